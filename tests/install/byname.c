/*
 * What a database server's cluster layer does first (S-I1): it opens libdlm.so and
 * looks its functions up, in this order. Then one call, to see that they are alive.
 */
#include <dlfcn.h>
#include <stdio.h>

int main(void)
{
	static const char *const names[] = {
		"dlm_nsjoin", "dlm_nsleave", "dlm_set_signal", "dlm_rd_attach", "dlm_rd_detach", "dlm_rd_collect",
		"dlm_rd_validate", "dlm_glc_create", "dlm_glc_destroy", "dlm_glc_attach", "dlm_glc_detach", "dlm_locktp",
		"dlm_quelocktp", "dlm_cvt", "dlm_quecvt", "dlm_unlock", "dlm_cancel", "dlm_get_lkinfo", "dlm_get_rsbinfo",
	};
	void *lib = dlopen("libdlm.so", RTLD_NOW | RTLD_GLOBAL);
	int bad = 0;

	if (lib == NULL) {
		fprintf(stderr, "%s\n", dlerror());
		return 1;
	}
	for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
		if (dlsym(lib, names[i]) == NULL) {
			fprintf(stderr, "%s\n", dlerror());
			bad = 1;
		}
	char *(*text)(int) = (char *(*)(int))dlsym(lib, "dlm_sperrno");
	if (text == NULL || text(46) == NULL || text(46)[4] != 'N')
		bad = 1;
	return bad;
}
