/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef ITSDIFF_NVHE_GFP_H
#define ITSDIFF_NVHE_GFP_H

#include <nvhe/memory.h>
#include <nvhe/spinlock.h>

#endif
