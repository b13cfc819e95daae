/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef ITSDIFF_ASM_KVM_ARM_H
#define ITSDIFF_ASM_KVM_ARM_H

#include <linux/bits.h>

#endif
