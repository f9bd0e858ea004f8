// Package sfid makes and reads Salesforce record ids.
//
// An id is 15 case-sensitive characters (a three-character key prefix, then a
// base-62 number) or the same with a three-character checksum that makes it
// safe where case is lost. Answers always carry 18 characters; requests may
// carry either. The package knows nothing about which ids exist.
package sfid

import "strings"

const (
	digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	suffix = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"

	// pod stands for the instance part of an id.
	pod = "bm0"
)

// New returns the 18-character id number n (counted from 0) of a key prefix.
// Ids of one prefix sort bytewise in the order of n.
func New(prefix string, n int) string {
	var b [15]byte
	copy(b[:], prefix)
	copy(b[3:], pod)
	for i := 14; i >= 6; i-- {
		b[i] = digits[n%62]
		n /= 62
	}
	return string(b[:]) + Checksum(string(b[:]))
}

// Number is the inverse of New. It reports false for an id that New did not
// make.
func Number(id string) (int, bool) {
	if len(id) < 15 || id[3:6] != pod {
		return 0, false
	}
	n := 0
	for i := 6; i < 15; i++ {
		d := digit(id[i])
		if d < 0 {
			return 0, false
		}
		n = n*62 + d
	}
	return n, true
}

// Checksum returns the three characters that complete a 15-character id.
func Checksum(id15 string) string {
	var out [3]byte
	for g := range 3 {
		mask := 0
		for i := range 5 {
			if c := id15[g*5+i]; c >= 'A' && c <= 'Z' {
				mask |= 1 << i
			}
		}
		out[g] = suffix[mask]
	}
	return string(out[:])
}

// Normal returns the 18-character form of a 15- or 18-character id. An
// 18-character id whose case was lost is repaired from its checksum. It
// reports false for everything that cannot be an id.
func Normal(id string) (string, bool) {
	switch len(id) {
	case 15:
		if !alphanumeric(id) {
			return "", false
		}
		return id + Checksum(id), true
	case 18:
		if !alphanumeric(id) {
			return "", false
		}
		if sum := Checksum(id[:15]); sum == id[15:] {
			return id, true
		}
		return repair(id)
	default:
		return "", false
	}
}

func repair(id string) (string, bool) {
	b := []byte(id[:15])
	sum := strings.ToUpper(id[15:])
	for g := range 3 {
		mask := strings.IndexByte(suffix, sum[g])
		if mask < 0 {
			return "", false
		}
		for i := range 5 {
			c := &b[g*5+i]
			upper := mask&(1<<i) != 0
			switch {
			case upper && *c >= 'a' && *c <= 'z':
				*c -= 'a' - 'A'
			case !upper && *c >= 'A' && *c <= 'Z':
				*c += 'a' - 'A'
			case upper && *c <= '9':
				return "", false
			}
		}
	}
	return string(b) + sum, true
}

func alphanumeric(s string) bool {
	for i := range len(s) {
		if digit(s[i]) < 0 {
			return false
		}
	}
	return true
}

func digit(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'A' && c <= 'Z':
		return int(c-'A') + 10
	case c >= 'a' && c <= 'z':
		return int(c-'a') + 36
	default:
		return -1
	}
}
