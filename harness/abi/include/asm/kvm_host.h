/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef ITSDIFF_ASM_KVM_HOST_H
#define ITSDIFF_ASM_KVM_HOST_H

#include <linux/kernel.h>

/* Registers of the host as a hypercall finds them: x0 to x30. */
struct user_pt_regs {
	u64 regs[31];
	u64 sp, pc, pstate;
};

struct kvm_cpu_context {
	struct user_pt_regs regs;
};

#define is_protected_kvm_enabled() its_is_protected()

#endif
