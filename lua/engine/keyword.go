package engine

import (
	"bytes"
	"slices"
	"strings"

	"github.com/yuin/gopher-lua/ast"
)

// keywords are Lua's, and goto, which gopher-lua reserves.
var keywords = strings.Fields("and break do else elseif end false for function goto if in local nil not or repeat return then true until while")

// keywordFields are the keywords of a source that name a field, as in
// { do = f } and wait_for.until(…). Lua 5.1 refuses them there, so that no
// program changes its meaning. The parser reads a word of the same width, one
// that the source has nowhere, and the tree gets the keyword back.
type keywordFields struct {
	skip  int               // how many words to pass over for each
	words map[string]string // keyword -> the word that stands for it
	count int
}

// field reports whether the word from i to j is a keyword that names a field,
// and replaces it. before is the token in front of it.
func (s *scanner) field(i, j int, before byte) bool {
	if before == 0 || !slices.Contains(keywords, string(s.text[i:j])) {
		return false
	}
	if before != '.' && before != ':' {
		if n := len(s.open); n == 0 || s.open[n-1].word != "{" || !s.assigned(j) {
			return false
		}
	}
	word, ok := s.fields.wordFor(string(s.text[i:j]), s.src)
	if !ok {
		return false
	}
	if !s.copied {
		s.text = bytes.Clone(s.text)
		s.copied = true
	}
	copy(s.text[i:j], word)
	return true
}

// assigned reports whether a lone = follows, behind blanks and comments.
func (s *scanner) assigned(i int) bool {
	t := s.text
	ahead := scanner{text: t}
	for i < len(t) {
		switch c := t[i]; {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			i++
		case bytes.HasPrefix(t[i:], []byte("--")):
			i = ahead.comment(i)
		default:
			return c == '=' && !bytes.HasPrefix(t[i:], []byte("=="))
		}
	}
	return false
}

// dots passes what begins with a dot or a colon, and notes the single ones.
func (s *scanner) dots(i int) int {
	t, c := s.text, s.text[i]
	switch {
	case i+1 == len(t) || t[i+1] != c:
		if c == ':' || i+1 == len(t) || !isDigit(t[i+1]) {
			s.before = c
		}
		return i + 1
	case c == '.' && i+2 < len(t) && t[i+2] == '.':
		return i + 3
	}
	return i + 2
}

const (
	firstOfWord = "_abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	restOfWord  = firstOfWord + "0123456789"
)

// wordFor finds a word as wide as the keyword. A source that has all words of
// two letters keeps its syntax error.
func (k *keywordFields) wordFor(keyword string, src []byte) (string, bool) {
	word, known := k.words[keyword]
	if !known {
		if word = k.find(keyword, src); word == "" {
			return "", false
		}
		if k.words == nil {
			k.words = map[string]string{}
		}
		k.words[keyword] = word
	}
	k.count++
	return word, true
}

func (k *keywordFields) find(keyword string, src []byte) string {
	skip := k.skip
	fill := strings.Repeat("_", len(keyword)-2)
	for _, last := range []byte(restOfWord) {
		for _, first := range []byte(firstOfWord) {
			word := string(first) + fill + string(last)
			if bytes.Contains(src, []byte(word)) || slices.Contains(keywords, word) || k.taken(word) {
				continue
			}
			if skip == 0 {
				return word
			}
			skip--
		}
	}
	return ""
}

func (k *keywordFields) taken(word string) bool {
	for _, w := range k.words {
		if w == word {
			return true
		}
	}
	return false
}

// keyword gives back what stood in the source.
func (k *keywordFields) keyword(word string) string {
	for keyword, w := range k.words {
		if w == word {
			return keyword
		}
	}
	return word
}

// restore puts the keywords into the tree. It reports false, and leaves the tree
// as it is, where a string of the source reads like one of the words.
func (k *keywordFields) restore(tree []ast.Stmt) bool {
	if k.count == 0 {
		return true
	}
	var places []*string
	note := func(at *string) {
		if k.keyword(*at) != *at {
			places = append(places, at)
		}
	}
	eachNode(tree, func(node any, _ int) bool {
		switch n := node.(type) {
		case *ast.StringExpr:
			note(&n.Value)
		case *ast.FuncCallExpr:
			note(&n.Method)
		case *ast.FuncDefStmt:
			note(&n.Name.Method)
		}
		return true
	})
	if len(places) != k.count {
		return false
	}
	for _, at := range places {
		*at = k.keyword(*at)
	}
	return true
}
