/* A program of a user of the installed library: it writes a value block and reads it back. */
#include <godlm.h>
#include <stdio.h>
#include <sys/dlm.h>
#include <unistd.h>

int main(void)
{
	dlm_nsp_t nsp;
	dlm_lkid_t lock;
	dlm_valb_t v = { { 42 } };
	int s;

	if (godlm_version() != GODLM_VERSION) {
		fprintf(stderr, "header %d, library %d\n", GODLM_VERSION, godlm_version());
		return 1;
	}
	if ((s = dlm_nsjoin(geteuid(), &nsp, DLM_USER)) != DLM_SUCCESS ||
	    (s = dlm_lock(nsp, (uchar_t *)"user", 4, NULL, &lock, DLM_EXMODE, NULL, 0, 0, 0, 0, 0)) != DLM_SUCCESS ||
	    (s = dlm_cvt(&lock, DLM_NLMODE, &v, DLM_VALB, 0, 0, 0, 0)) != DLM_SUCCESS)
		goto bad;
	v.valblk[0] = 0;
	if ((s = dlm_cvt(&lock, DLM_PRMODE, &v, DLM_VALB, 0, 0, 0, 0)) != DLM_SUCCESS)
		goto bad;
	printf("%u\n", v.valblk[0]);
	return 0;
bad:
	fprintf(stderr, "%s\n", dlm_sperrno(s));
	return 1;
}
