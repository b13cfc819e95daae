/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef ITSDIFF_LINUX_KVM_HOST_H
#define ITSDIFF_LINUX_KVM_HOST_H

#include <linux/kernel.h>
#include <linux/mm.h>
#include <asm/kvm_host.h>

#endif
