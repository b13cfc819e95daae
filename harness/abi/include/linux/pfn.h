/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef ITSDIFF_LINUX_PFN_H
#define ITSDIFF_LINUX_PFN_H

#include <asm/page.h>

#endif
