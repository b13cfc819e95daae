/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef ITSDIFF_LINUX_EXPORT_H
#define ITSDIFF_LINUX_EXPORT_H

#include <linux/compiler.h>

#endif
