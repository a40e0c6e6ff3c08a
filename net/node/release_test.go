package node

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// Release is the version that the Makefile and the header have.
func TestRelease(t *testing.T) {
	var major, minor, patch int
	if _, err := fmt.Sscanf(Release, "%d.%d.%d", &major, &minor, &patch); err != nil {
		t.Fatal(err)
	}
	number := fmt.Sprintf("#define GODLM_VERSION %d", 10000*major+100*minor+patch)
	for path, line := range map[string]string{"../../Makefile": "VERSION := " + Release, "../../include/godlm.h": number} {
		b, err := os.ReadFile(path)
		if err != nil || !strings.Contains(string(b), line+"\n") {
			t.Errorf("%s does not say %q (%v)", path, line, err)
		}
	}
}
