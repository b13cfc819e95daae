/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef ITSDIFF_ASM_IO_H
#define ITSDIFF_ASM_IO_H

#include <linux/io.h>

#endif
