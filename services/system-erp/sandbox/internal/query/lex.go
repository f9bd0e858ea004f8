package query

import (
	"strings"

	"github.com/selfsame-io/selfsame/services/system-erp/sandbox/internal/edm"
)

type kind int

const (
	word kind = iota
	mark
	literal
)

type token struct {
	kind  kind
	text  string
	value edm.Constant
}

// lex splits a filter into words, brackets, commas and literals.
func lex(text string) ([]token, error) {
	var out []token
	for i := 0; i < len(text); {
		c := text[i]
		switch {
		case c == ' ' || c == '\t':
			i++
		case strings.IndexByte("(),", c) >= 0:
			out = append(out, token{kind: mark, text: string(c)})
			i++
		case c == '\'':
			s, next, err := quoted(text, i)
			if err != nil {
				return nil, err
			}
			out = append(out, token{kind: literal, text: s, value: edm.Constant{Text: s}})
			i = next
		default:
			j := i
			for j < len(text) && strings.IndexByte(" \t(),'", text[j]) < 0 {
				j++
			}
			w := text[i:j]
			if j < len(text) && text[j] == '\'' {
				s, next, err := quoted(text, j)
				if err != nil {
					return nil, err
				}
				out = append(out, token{kind: literal, text: w, value: edm.Constant{Kind: strings.ToLower(w), Text: s}})
				i = next
				continue
			}
			out = append(out, plain(w))
			i = j
		}
	}
	return out, nil
}

// plain is a word, or a number with its suffix.
func plain(w string) token {
	if c := w[0]; c >= '0' && c <= '9' || c == '-' && len(w) > 1 {
		return token{kind: literal, text: w, value: edm.Constant{Kind: "number", Text: strings.TrimRight(w, "mMdDfFlL")}}
	}
	return token{kind: word, text: w}
}

// quoted reads 'it”s' from its first quote on and returns the place behind it.
func quoted(text string, i int) (string, int, error) {
	var b strings.Builder
	for i++; i < len(text); i++ {
		if text[i] != '\'' {
			b.WriteByte(text[i])
			continue
		}
		if i+1 < len(text) && text[i+1] == '\'' {
			b.WriteByte('\'')
			i++
			continue
		}
		return b.String(), i + 1, nil
	}
	return "", 0, syntax("A text is not closed")
}

// Literals reads the comma separated literals of a key: 'a' or A='a',B=2.
func Literals(text string) (map[string]edm.Constant, error) {
	out := map[string]edm.Constant{}
	for i := 0; i < len(text); {
		name := ""
		if j := strings.IndexAny(text[i:], "='"); j > 0 && text[i+j] == '=' {
			name, i = strings.TrimSpace(text[i:i+j]), i+j+1
		}
		j := i
		for j < len(text) && text[j] != '\'' && text[j] != ',' {
			j++
		}
		prefix := text[i:j]
		c := edm.Constant{Kind: strings.ToLower(prefix)}
		switch {
		case j < len(text) && text[j] == '\'':
			s, next, err := quoted(text, j)
			if err != nil {
				return nil, err
			}
			c.Text, j = s, next
		case prefix == "true" || prefix == "false":
			c = edm.Constant{Kind: "bool", Text: prefix}
		case prefix != "":
			c = plain(prefix).value
		default:
			return nil, syntax("A key is empty")
		}
		out[name] = c
		if j < len(text) {
			if text[j] != ',' {
				return nil, syntax("Keys are separated by commas")
			}
			j++
		}
		i = j
	}
	return out, nil
}
