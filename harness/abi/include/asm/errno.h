/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef ITSDIFF_ASM_ERRNO_H
#define ITSDIFF_ASM_ERRNO_H

#include <linux/errno.h>

#endif
