/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef ITSDIFF_LINUX_CONTAINER_OF_H
#define ITSDIFF_LINUX_CONTAINER_OF_H

#include <linux/kernel.h>

#endif
