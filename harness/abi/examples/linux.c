/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * linux/its_emulate.c, which includes nothing but a kernel's headers, as a subject. With
 * `cargo xtask subject --sources` it would stand next to this file on the command line.
 */
#include <itsdiff_linux.h>

#include "linux/its_emulate.c"

ITSDIFF_LINUX_SUBJECT(handle___pkvm_init_its_emulation, pkvm_handle_its, pkvm_handle_redistributor,
		      pkvm_may_donate, .records_per_page = 64, .commands_in_flight = CMDS_IN_FLIGHT);
