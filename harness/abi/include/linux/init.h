/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef ITSDIFF_LINUX_INIT_H
#define ITSDIFF_LINUX_INIT_H

#include <linux/compiler.h>

#endif
