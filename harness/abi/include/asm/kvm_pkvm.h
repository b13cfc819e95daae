/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef ITSDIFF_ASM_KVM_PKVM_H
#define ITSDIFF_ASM_KVM_PKVM_H

#include <asm/kvm_host.h>

struct pkvm_protected_reg;

/* An access of the host to a region: `reg` holds what is written, or takes what is read. */
typedef void pkvm_emulate_handler(struct pkvm_protected_reg *region, u64 offset, bool write,
				  u64 *reg, u8 reg_size);

/* A region of devices that EL2 took from the host. */
struct pkvm_protected_reg {
	u64 start_pfn;
	size_t num_pages;
	pkvm_emulate_handler *cb;
};

#define PKVM_PROTECTED_REGS_NUM 16

/* itsdiff_linux.h fills them: ITSs, then redistributors. */
extern struct pkvm_protected_reg pkvm_protected_regs[PKVM_PROTECTED_REGS_NUM];
extern unsigned int num_protected_reg;

/* Names are the same in EL2's object. */
#define kvm_nvhe_sym(name) name

#endif
