/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef ITSDIFF_LINUX_SPINLOCK_H
#define ITSDIFF_LINUX_SPINLOCK_H

#include <nvhe/spinlock.h>

#endif
