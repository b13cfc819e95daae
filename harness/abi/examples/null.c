/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* A subject that does nothing: what the harness costs without one, and where to begin. */
#include "itsdiff.h"

ITS_SUBJECT_ABI;

int32_t its_subject_create(const struct its_machine *machine)
{
	(void)machine;
	return 0;
}

void its_subject_destroy(void)
{
}

void its_subject_reset(void)
{
}

void its_subject_policy(struct its_policy *policy)
{
	policy->records_per_page = 0;
	policy->commands_in_flight = 0;
}

int64_t its_subject_set_up(uint64_t x1, uint64_t x2, uint64_t x3, uint64_t x4)
{
	(void)x1, (void)x2, (void)x3, (void)x4;
	return -95; /* EOPNOTSUPP */
}

uint64_t its_subject_trap(const struct its_trap *trap)
{
	(void)trap;
	return 0;
}

bool its_subject_allows_donation(void)
{
	return false;
}
