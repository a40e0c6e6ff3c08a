/* Nothing happens when the library is loaded or asked for texts; the first call starts it. */
#include "test.h"

int main(void)
{
	dlm_nsp_t nsp;
	dlm_lkid_t id;

	ASSERT_EQ(thread_count(), 1);
	ASSERT_EQ(godlm_version(), GODLM_VERSION);
	ASSERT_STR(dlm_sperrno(DLM_SYNCH), "DLM_SYNCH");
	ASSERT_EQ(dlm_notify(), 0);
	ASSERT_EQ(godlm_event_fd(), -1);
	ASSERT_ST(dlm_detach(), DLM_NOTATTACHED);
	ASSERT_ST(take(1, "x", &id, DLM_EXMODE, NULL, 0), DLM_NOTATTACHED);
	ASSERT_EQ(thread_count(), 1);

	nsp = join();
	ASSERT(thread_count() > 1);
	ASSERT_ST(take(nsp, "x", &id, DLM_EXMODE, NULL, DLM_SYNCSTS), DLM_SYNCH);
	ASSERT_ST(dlm_unlock(&id, NULL, 0), DLM_SUCCESS);
	ASSERT_ST(dlm_nsleave(&nsp, 0), DLM_SUCCESS);
	return 0;
}
