#!/bin/sh
# Restarts one instance of a service when no other is being restarted:
#
#     restart.sh VERSION COMMAND [ARGUMENT...]
#
# COMMAND stops the instance, starts VERSION of it, and ends with status 0 when that is
# healthy. Run this for all instances at once, on all hosts: one after the other gets its
# turn. After a restart that failed, or that was killed in the middle, the others refuse
# (status 75) until somebody has looked and says
#
#     godlm set --domain rollout rollout mended
set -eu
[ $# -ge 2 ] || { echo "usage: restart.sh VERSION COMMAND [ARGUMENT...]" >&2; exit 2; }
version=$1
shift
# --domain: that the value is not valid is remembered also while nobody has the lock.
# If godlm itself is killed the kernel kills the command, and the value is not valid.
exec godlm lock --domain rollout --value "$version" --invalidate-on-failure rollout -- sh -c '
	if [ "$GODLM_VALUE_VALID" = 0 ]; then
		echo "the restart before this one went wrong; not going on" >&2
		exit 75
	fi
	exec "$@"' restart "$@"
