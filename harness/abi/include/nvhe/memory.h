/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef ITSDIFF_NVHE_MEMORY_H
#define ITSDIFF_NVHE_MEMORY_H

#include <asm/memory.h>

#endif
