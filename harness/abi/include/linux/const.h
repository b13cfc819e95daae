/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef ITSDIFF_LINUX_CONST_H
#define ITSDIFF_LINUX_CONST_H

#include <linux/bits.h>

#endif
