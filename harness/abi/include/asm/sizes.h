/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef ITSDIFF_ASM_SIZES_H
#define ITSDIFF_ASM_SIZES_H

#include <linux/sizes.h>

#endif
