/* Names of statuses (D-32). */
#include <stdio.h>

#include <godlm.h>

#define NAME(s) [s] = #s
static const char *const names[] = {
	NAME(DLM_SUCCESS), NAME(DLM_SYNCH), NAME(DLM_SUCCVALNOTVALID), NAME(DLM_SYNCVALNOTVALID),
	NAME(DLM_MORE_TO_RECOVER), NAME(DLM_MORE_TO_TRAVERSE), NAME(DLM_ABORT), NAME(DLM_ATTACHED),
	NAME(DLM_BADPARAM), NAME(DLM_CANCEL), NAME(DLM_CANCELGRANT), NAME(DLM_CANCELWAIT),
	NAME(DLM_CVTUNGRANT), NAME(DLM_DEADLOCK), NAME(DLM_EFAULT), NAME(DLM_ENOENT), NAME(DLM_ENOSYS),
	NAME(DLM_HASLOCKS), NAME(DLM_INSFMEM), NAME(DLM_INTR), NAME(DLM_IVBUFLEN), NAME(DLM_IVLOCKID),
	NAME(DLM_LKBUSY), NAME(DLM_NOACCESS), NAME(DLM_NOLOCKID), NAME(DLM_NOTATTACHED),
	NAME(DLM_NOTQUEUED), NAME(DLM_PARNOTGRANT), NAME(DLM_RETRY), NAME(DLM_SUBLOCKS),
	NAME(DLM_TIMEOUT), NAME(DLM_TOOMANYNS), NAME(DLM_UNEXPERR), NAME(DLM_HASPROCS),
	NAME(DLM_KILLFAIL), NAME(DLM_ATTACHEDGROUP), NAME(DLM_NO_GROUP), NAME(DLM_ENAMETOOLONG),
	NAME(DLM_TOOMANYRD), NAME(DLM_IS_PR), NAME(DLM_NOT_PR), NAME(DLM_IVRDID),
	NAME(DLM_PR_RD_MISMATCH), NAME(DLM_IVHNDL), NAME(DLM_EALREADY), NAME(DLM_EINPROGRESS),
	NAME(DLM_PUBNS_DISALLOW), NAME(GODLM_LOST),
};

char *dlm_sperrno(dlm_status_t stat)
{
	unsigned n = (unsigned)stat;
	if (n < sizeof names / sizeof *names && names[n] != NULL)
		return (char *)names[n];
	return (char *)"DLM_ILLEGAL_EEROR";
}

void dlm_perrno(dlm_status_t stat)
{
	fprintf(stderr, "%s\n", dlm_sperrno(stat));
}

void dlm_perror(char *s, dlm_status_t stat)
{
	if (s == NULL || *s == '\0')
		dlm_perrno(stat);
	else
		fprintf(stderr, "%s: %s\n", s, dlm_sperrno(stat));
}

int godlm_version(void)
{
	return GODLM_VERSION;
}
