package soql

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

type tokenKind uint8

const (
	end tokenKind = iota
	word
	str
	number // also dates: everything unquoted that starts with a digit or sign
	punct
)

type token struct {
	kind tokenKind
	text string // unescaped for strings
	pos  int
}

func (t token) is(keyword string) bool {
	return t.kind == word && strings.EqualFold(t.text, keyword)
}

func (t token) shown() string {
	if t.kind == end {
		return "<EOF>"
	}
	return t.text
}

func lex(in string) ([]token, error) {
	var out []token
	for i := 0; i < len(in); {
		c := in[i]
		switch {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			i++
		case c == '\'':
			t, next, err := lexString(in, i)
			if err != nil {
				return nil, err
			}
			out, i = append(out, t), next
		case letter(c):
			j := i
			for j < len(in) && (letter(in[j]) || digit(in[j])) {
				j++
			}
			out, i = append(out, token{word, in[i:j], i}), j
		case digit(c) || (c == '-' || c == '+' || c == '.') && i+1 < len(in) && (digit(in[i+1]) || in[i+1] == '.'):
			j := i + 1
			for j < len(in) && (digit(in[j]) || strings.IndexByte(".:+-TtZzEe", in[j]) >= 0) {
				j++
			}
			out, i = append(out, token{number, in[i:j], i}), j
		default:
			n := 1
			if i+1 < len(in) {
				switch in[i : i+2] {
				case "!=", "<=", ">=", "<>":
					n = 2
				}
			}
			if n == 1 && strings.IndexByte("(),.=<>:", c) < 0 {
				_, size := utf8.DecodeRuneInString(in[i:])
				return nil, &SyntaxError{i, fmt.Sprintf("unexpected token: '%s'", in[i:i+size])}
			}
			out, i = append(out, token{punct, in[i : i+n], i}), i+n
		}
	}
	return append(out, token{end, "", len(in)}), nil
}

func letter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' }
func digit(c byte) bool  { return c >= '0' && c <= '9' }

// lexString keeps \_, \% and \\ escaped, because they mean something else to
// LIKE than to other operators.
func lexString(in string, start int) (token, int, error) {
	var b strings.Builder
	for i := start + 1; i < len(in); i++ {
		switch c := in[i]; c {
		case '\'':
			return token{str, b.String(), start}, i + 1, nil
		case '\\':
			i++
			if i >= len(in) {
				break
			}
			r, ok := unescape(in[i])
			switch {
			case ok:
				b.WriteByte(r)
			case in[i] == '_' || in[i] == '%' || in[i] == '\\':
				b.WriteByte('\\')
				b.WriteByte(in[i])
			case in[i] == 'u' && i+4 < len(in):
				var cp rune
				if _, err := fmt.Sscanf(in[i+1:i+5], "%04x", &cp); err != nil {
					return token{}, 0, &SyntaxError{i, "invalid unicode escape in string literal"}
				}
				b.WriteRune(cp)
				i += 4
			default:
				return token{}, 0, &SyntaxError{i, fmt.Sprintf("Illegal escape sequence '\\%c' in string literal", in[i])}
			}
		default:
			b.WriteByte(c)
		}
	}
	return token{}, 0, &SyntaxError{start, "line 1: mismatched quote: string literal is not closed"}
}

func unescape(c byte) (byte, bool) {
	switch c {
	case 'n', 'N':
		return '\n', true
	case 'r', 'R':
		return '\r', true
	case 't', 'T':
		return '\t', true
	case 'b', 'B':
		return '\b', true
	case 'f', 'F':
		return '\f', true
	case '"', '\'':
		return c, true
	}
	return 0, false
}
