/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef ITSDIFF_ASM_KVM_ASM_H
#define ITSDIFF_ASM_KVM_ASM_H

#include <linux/kernel.h>

#endif
