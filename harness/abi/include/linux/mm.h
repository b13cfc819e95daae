/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef ITSDIFF_LINUX_MM_H
#define ITSDIFF_LINUX_MM_H

#include <asm/memory.h>

#endif
