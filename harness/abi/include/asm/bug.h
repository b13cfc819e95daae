/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef ITSDIFF_ASM_BUG_H
#define ITSDIFF_ASM_BUG_H

#include <linux/bug.h>

#endif
