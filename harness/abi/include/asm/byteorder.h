/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef ITSDIFF_ASM_BYTEORDER_H
#define ITSDIFF_ASM_BYTEORDER_H

#include <linux/kernel.h>

#endif
