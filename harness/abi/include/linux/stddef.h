/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef ITSDIFF_LINUX_STDDEF_H
#define ITSDIFF_LINUX_STDDEF_H

#include <linux/types.h>

#endif
