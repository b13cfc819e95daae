/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef ITSDIFF_NVHE_TRAP_HANDLER_H
#define ITSDIFF_NVHE_TRAP_HANDLER_H

#include <asm/kvm_host.h>

#define cpu_reg(context, n) (context)->regs.regs[n]
#define DECLARE_REG(type, name, context, n) \
	__always_unused int itsdiff_register_##n; \
	type name = (type)cpu_reg(context, n)

#endif
