/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef ITSDIFF_ASM_KVM_HYP_H
#define ITSDIFF_ASM_KVM_HYP_H

#include <asm/kvm_host.h>
#include <asm/kvm_mmu.h>

#endif
