/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * From the interface to entry points of a kernel's EL2. One more source file says
 *
 *     #include <itsdiff_linux.h>
 *     ITSDIFF_LINUX_SUBJECT(hypercall, its, redistributor, allows_donation, .records_per_page = 256,
 *                           .commands_in_flight = 64);
 *
 * with the names of four functions of the kernel's sources and the fields of struct its_policy:
 *
 *     void hypercall(struct kvm_cpu_context *host_ctxt);
 *     void its(struct pkvm_protected_reg *region, u64 offset, bool write, u64 *reg, u8 reg_size);
 *     void redistributor(struct pkvm_protected_reg *region, u64 offset, bool write, u64 *reg,
 *                        u8 reg_size);
 *     bool allows_donation(void);
 *
 * The first finds x1 to x4 in the context and leaves its result in x1; it is called in protected
 * mode once all CPUs are finalized. A region is an ITS with both frames, or a redistributor.
 */
#ifndef ITSDIFF_LINUX_H
#define ITSDIFF_LINUX_H

#include <asm/kvm_pkvm.h>
#include <linux/sizes.h>
#include <nvhe/memory.h>

static __always_inline void itsdiff_set_region(u32 n, u64 address, u64 bytes,
					       pkvm_emulate_handler *cb)
{
	pkvm_protected_regs[n] =
		(struct pkvm_protected_reg){ hyp_phys_to_pfn(address), bytes >> PAGE_SHIFT, cb };
}

/* Redistributors are known once there is a machine. Two CPUs may do this at once, and do the
 * same. */
static __always_inline void itsdiff_add_redistributors(u32 its, pkvm_emulate_handler *cb)
{
	struct its_redistributor found;
	u32 n;

	if (num_protected_reg > its)
		return;
	for (n = 0; !its_redistributor(n, &found); n++)
		itsdiff_set_region(its + n, found.address, SZ_256K, cb);
	num_protected_reg = its + n;
}

#define ITSDIFF_LINUX_SUBJECT(hypercall, its_handler, redistributor_handler, may_donate, ...)     \
	ITS_SUBJECT_ABI;                                                                          \
                                                                                                  \
	void hypercall(struct kvm_cpu_context *host_ctxt);                                        \
	pkvm_emulate_handler its_handler, redistributor_handler;                                  \
	bool may_donate(void);                                                                    \
                                                                                                  \
	struct pkvm_protected_reg pkvm_protected_regs[PKVM_PROTECTED_REGS_NUM];                   \
	unsigned int num_protected_reg;                                                           \
	static u32 itsdiff_its;                                                                   \
                                                                                                  \
	int32_t its_subject_create(const struct its_machine *machine)                             \
	{                                                                                         \
		itsdiff_its = num_protected_reg = machine->its;                                   \
		for (u32 n = 0; n < itsdiff_its; n++)                                             \
			itsdiff_set_region(n, machine->control[n], SZ_128K, its_handler);         \
		return 0;                                                                         \
	}                                                                                         \
                                                                                                  \
	void its_subject_destroy(void)                                                            \
	{                                                                                         \
	}                                                                                         \
                                                                                                  \
	void its_subject_reset(void)                                                              \
	{                                                                                         \
	}                                                                                         \
                                                                                                  \
	void its_subject_policy(struct its_policy *policy)                                        \
	{                                                                                         \
		*policy = (struct its_policy){ __VA_ARGS__ };                                     \
	}                                                                                         \
                                                                                                  \
	int64_t its_subject_set_up(uint64_t x1, uint64_t x2, uint64_t x3, uint64_t x4)            \
	{                                                                                         \
		struct kvm_cpu_context context = { .regs.regs = { 0, x1, x2, x3, x4 } };          \
                                                                                                  \
		if (!its_is_protected())                                                          \
			return -EOPNOTSUPP;                                                       \
		if (!its_all_cpus_finalized())                                                    \
			return -EBUSY;                                                            \
		itsdiff_add_redistributors(itsdiff_its, redistributor_handler);                   \
		hypercall(&context);                                                              \
		return context.regs.regs[1];                                                      \
	}                                                                                         \
                                                                                                  \
	uint64_t its_subject_trap(const struct its_trap *trap)                                    \
	{                                                                                         \
		bool redistributor = trap->frame == ITS_FRAME_REDISTRIBUTOR;                      \
		u32 n = trap->index + (redistributor ? itsdiff_its : 0);                          \
		u64 offset = trap->offset + (trap->frame == ITS_FRAME_TRANSLATION ? SZ_64K : 0);  \
		u64 reg = trap->write ? trap->value : 0;                                          \
                                                                                                  \
		itsdiff_add_redistributors(itsdiff_its, redistributor_handler);                   \
		if (n < num_protected_reg)                                                        \
			pkvm_protected_regs[n].cb(&pkvm_protected_regs[n], offset, trap->write,   \
						  &reg, trap->bytes);                             \
		return reg;                                                                       \
	}                                                                                         \
                                                                                                  \
	bool its_subject_allows_donation(void)                                                    \
	{                                                                                         \
		return may_donate();                                                              \
	}                                                                                         \
	_Static_assert(1, "")

#endif
