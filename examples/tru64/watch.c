/*
 * Being told when another program ends, and whether it died: each program holds a lock
 * on its own name in EX for as long as it lives; who wants to know has one in NL and asks
 * for PR, without waiting. That is granted when the program is gone.
 *
 * Written as for Tru64 UNIX: completion routines that run in the handler of a signal.
 * OpenVMS programs do the same with $ENQ and a completion AST.
 *
 *     watch NAME       lives under NAME; commands on standard input:
 *     watch OTHER      tell when OTHER ends
 *     End of input is a clean end.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <unistd.h>
#include <sys/dlm.h>

struct other {
	char name[DLM_RESNAMELEN];
	dlm_lkid_t lock;
	dlm_valb_t value;
	dlm_status_t status;           /* written by the routine ... */
	volatile sig_atomic_t answered; /* ... before this */
	int told;
};

static struct other others[16];
static int n_others;
static dlm_nsp_t nsp;

static void need(dlm_status_t st, const char *what)
{
	if (st != DLM_SUCCESS) {
		dlm_perror((char *)what, st);
		exit(1);
	}
}

/* The completion routine, in the handler: it notes, and the main program acts. */
static void gone(callback_arg_t which, dlm_lkid_t *lkid, dlm_status_t status)
{
	struct other *o = which;
	(void)lkid;
	o->status = status;
	o->answered = 1;
}

/*
 * The lock in NL keeps the resource, and with it the mark that says that its holder has
 * died, for this watcher however late it asks. It must not line up behind others who ask
 * for PR: DLM_EXPEDITE. Programs that watch each other are no deadlock: DLM_NODLCKWT.
 */
static void watch(const char *name)
{
	if (n_others == sizeof others / sizeof others[0] || strlen(name) >= sizeof others[0].name) {
		puts("no");
		return;
	}
	struct other *o = &others[n_others++];
	strcpy(o->name, name);
	need(dlm_lock(nsp, (uchar_t *)o->name, strlen(o->name), NULL, &o->lock, DLM_NLMODE, NULL, DLM_EXPEDITE, 0, 0, NULL, 0),
	     o->name);
	need(dlm_quecvt(&o->lock, DLM_PRMODE, &o->value, DLM_VALB | DLM_NODLCKWT, o, 0, NULL, 0, gone), o->name);
	printf("watching %s\n", name);
}

static void report(void)
{
	for (struct other *o = others; o < others + n_others; o++) {
		if (!o->answered || o->told)
			continue;
		o->told = 1;
		switch (o->status) {
		case DLM_SUCCESS: /* it has given its lock up itself */
			printf("%s has left\n", o->name);
			break;
		case DLM_SUCCVALNOTVALID: /* its lock in EX went with it */
			printf("%s has died\n", o->name);
			break;
		default:
			need(o->status, o->name);
		}
		need(dlm_cvt(&o->lock, DLM_NLMODE, NULL, 0, 0, 0, NULL, 0), o->name); /* so that it can live again */
	}
}

int main(int argc, char **argv)
{
	dlm_lkid_t mine;
	dlm_valb_t value;
	sigset_t blocked, open;
	char line[256];
	size_t filled = 0;
	if (argc != 2)
		return 2;
	setvbuf(stdout, NULL, _IOLBF, 0);
	need(dlm_nsjoin(geteuid(), &nsp, DLM_USER), "dlm_nsjoin");
	need(dlm_set_signal(SIGUSR1, NULL), "dlm_set_signal");
	need(dlm_lock(nsp, (uchar_t *)argv[1], strlen(argv[1]), NULL, &mine, DLM_EXMODE, NULL, 0, 0, 0, NULL, 0), argv[1]);
	/* If one of that name has died: this write takes the mark away. */
	memset(&value, 0, sizeof value);
	need(dlm_cvt(&mine, DLM_EXMODE, &value, DLM_VALB, 0, 0, NULL, 0), argv[1]);
	printf("%s lives\n", argv[1]);

	/* Routines run in pselect() only, so that none is missed between looking and waiting. */
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGUSR1);
	sigprocmask(SIG_BLOCK, &blocked, &open);
	sigdelset(&open, SIGUSR1);
	for (;;) {
		fd_set in;
		char *end;
		report();
		FD_ZERO(&in);
		FD_SET(0, &in);
		if (pselect(1, &in, NULL, NULL, NULL, &open) < 0) {
			if (errno == EINTR)
				continue;
			perror("pselect");
			return 1;
		}
		ssize_t n = read(0, line + filled, sizeof line - 1 - filled);
		if (n <= 0)
			break;
		filled += n;
		line[filled] = 0;
		while ((end = strchr(line, '\n'))) {
			*end = 0;
			if (strncmp(line, "watch ", 6) == 0 && line[6])
				watch(line + 6);
			filled -= end + 1 - line;
			memmove(line, end + 1, filled + 1);
		}
		if (filled == sizeof line - 1)
			filled = 0; /* no line is that long */
	}
	need(dlm_unlock(&mine, NULL, 0), "dlm_unlock"); /* without this the others would see a death */
	return 0;
}
