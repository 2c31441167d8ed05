package run

import (
	"fmt"
	"strings"
)

// mountPoint is a line of /proc/self/mountinfo.
type mountPoint struct {
	path    string
	options []string // of the mount, not of the file system
}

// parseMountInfo reads /proc/self/mountinfo.
func parseMountInfo(text string) ([]mountPoint, error) {
	var points []mountPoint
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 6 || !strings.HasPrefix(fields[4], "/") {
			return nil, fmt.Errorf("mountinfo: line %q", line)
		}
		points = append(points, mountPoint{path: unescape(fields[4]), options: strings.Split(fields[5], ",")})
	}
	return points, nil
}

// unescape undoes what the kernel does to the characters that would end a field or a line: \040 for a space.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) && s[i+1] >= '0' && s[i+1] <= '3' && octal(s[i+2]) && octal(s[i+3]) {
			b.WriteByte((s[i+1]-'0')<<6 | (s[i+2]-'0')<<3 | (s[i+3] - '0'))
			i += 3
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func octal(c byte) bool { return c >= '0' && c <= '7' }
