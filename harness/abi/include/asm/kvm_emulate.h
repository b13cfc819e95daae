/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef ITSDIFF_ASM_KVM_EMULATE_H
#define ITSDIFF_ASM_KVM_EMULATE_H

#include <asm/kvm_host.h>

#endif
