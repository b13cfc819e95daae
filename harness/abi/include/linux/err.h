/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef ITSDIFF_LINUX_ERR_H
#define ITSDIFF_LINUX_ERR_H

#include <linux/errno.h>
#include <linux/types.h>

#endif
