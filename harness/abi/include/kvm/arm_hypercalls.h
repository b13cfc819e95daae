/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef ITSDIFF_KVM_ARM_HYPERCALLS_H
#define ITSDIFF_KVM_ARM_HYPERCALLS_H

#include <asm/kvm_host.h>

#endif
