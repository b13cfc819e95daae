/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef ITSDIFF_ASM_MEMORY_H
#define ITSDIFF_ASM_MEMORY_H

#include <asm/page.h>

/* Where EL2 has what is no memory: a device, for readl and its kin, or nothing. A load or store
 * there faults. The upper bits make it no address of a process. */
#define ITSDIFF_DEVICE 0x0d50000000000000ULL
#define ITSDIFF_NOTHING 0x0bad000000000000ULL
#define itsdiff_device_bits 0x000fffffffffffffULL

/* Any number gives a pointer, as at EL2; what was no physical address faults when it is used. */
static __always_inline void *hyp_phys_to_virt(phys_addr_t address)
{
	void *pointer = its_to_pointer(address);

	if (pointer)
		return pointer;
	return (void *)(address <= itsdiff_device_bits ? ITSDIFF_DEVICE | address : ITSDIFF_NOTHING);
}

static __always_inline phys_addr_t itsdiff_virt_to_phys(u64 pointer)
{
	if ((pointer & ~itsdiff_device_bits) == ITSDIFF_DEVICE)
		return pointer & itsdiff_device_bits;
	return its_from_pointer((const void *)pointer);
}

/* Where EL2 has an address of the host's linear map. */
static __always_inline void *itsdiff_kern_hyp_va(u64 linear)
{
	uint64_t address;

	return its_from_host(linear, &address) ? (void *)ITSDIFF_NOTHING : hyp_phys_to_virt(address);
}

#define hyp_virt_to_phys(pointer) itsdiff_virt_to_phys((u64)(pointer))
#define kern_hyp_va(linear) ((__typeof__(linear))(unsigned long)itsdiff_kern_hyp_va((u64)(linear)))

#define __hyp_pa(pointer) hyp_virt_to_phys(pointer)
#define __hyp_va(address) hyp_phys_to_virt(address)
#define hyp_phys_to_pfn(address) ((u64)((address) >> PAGE_SHIFT))
#define hyp_pfn_to_phys(pfn) ((phys_addr_t)(pfn) << PAGE_SHIFT)
#define hyp_virt_to_pfn(pointer) hyp_phys_to_pfn(hyp_virt_to_phys(pointer))
#define hyp_pfn_to_virt(pfn) hyp_phys_to_virt(hyp_pfn_to_phys(pfn))

#endif
