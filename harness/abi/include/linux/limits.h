/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef ITSDIFF_LINUX_LIMITS_H
#define ITSDIFF_LINUX_LIMITS_H

#include <linux/types.h>

#endif
