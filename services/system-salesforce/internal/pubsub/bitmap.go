package pubsub

import (
	"fmt"
	"strconv"
	"strings"
)

// decodeBitmap returns the names of the fields that nulledFields, diffFields or changedFields stand for, in schema order.
//
// An element "0xA0" holds one bit per top-level field, counted from the least significant bit. An element "4-0x06" holds
// bits of the parts of the compound field with index 4; they are returned as "BillingAddress.City". Elements that are names
// already are returned as they are: that is what older schemas send. Bits without a field are an error, because they mean
// that event and schema do not belong together.
func (s *schema) decodeBitmap(elements []string) ([]string, error) {
	var out []string
	for _, e := range elements {
		index, bits, nested := strings.Cut(e, "-")
		switch {
		case isHex(e):
			set, err := bitsOf(e)
			if err != nil {
				return nil, err
			}
			for _, i := range set {
				if i >= len(s.fields) {
					return nil, fmt.Errorf("bitmap %q: bit %d of %d fields", e, i, len(s.fields))
				}
				out = append(out, s.fields[i].name)
			}
		case nested && isHex(bits):
			n, err := strconv.Atoi(index)
			if err != nil || n < 0 || n >= len(s.fields) {
				return nil, fmt.Errorf("bitmap %q: no such compound field", e)
			}
			set, err := bitsOf(bits)
			if err != nil {
				return nil, err
			}
			field := s.fields[n]
			for _, i := range set {
				if i >= len(field.parts) {
					return nil, fmt.Errorf("bitmap %q: bit %d of %d parts", e, i, len(field.parts))
				}
				out = append(out, field.name+"."+field.parts[i])
			}
		default:
			out = append(out, e)
		}
	}
	return out, nil
}

func isHex(s string) bool { return strings.HasPrefix(s, "0x") || strings.HasPrefix(s, "0X") }

// bitsOf returns the numbers of the bits set in a hexadecimal number of any length, lowest first.
func bitsOf(text string) ([]int, error) {
	digits := text[2:]
	var out []int
	for pos := len(digits) - 1; pos >= 0; pos-- {
		d, err := strconv.ParseUint(digits[pos:pos+1], 16, 8)
		if err != nil {
			return nil, fmt.Errorf("bitmap %q: not hexadecimal", text)
		}
		for bit := range 4 {
			if d&(1<<bit) != 0 {
				out = append(out, (len(digits)-1-pos)*4+bit)
			}
		}
	}
	return out, nil
}
