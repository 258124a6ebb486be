package stratum

import (
	"strings"
	"sync"
)

const (
	// A place is given up for values early when it has earlyWords times the bound on words and still each word brings less
	// than earlyRequests requests, and else once settleRequests times the bound have passed: then the common words had time
	// to show.
	earlyWords     = 3
	earlyRequests  = 4
	settleRequests = 20
	// commonShare of a place's requests, and commonCount of them at least, make a word of the interface even where the rest
	// are values.
	commonShare = 0.01
	commonCount = 10
	// forgetAfter requests a place halves its counts, so that what is common now decides.
	forgetAfter = 100000
	// maxNodes bounds the tree; a word beyond it is a value.
	maxNodes = 20000
)

// tree learns which places of a path hold words of the interface and which hold values that look like words (slugs, names
// of articles): a place where more than max distinct words were seen is one of values, but for the words that many
// requests share. It is safe for concurrent use.
type tree struct {
	max int

	mu    sync.Mutex
	root  *node
	nodes int
}

// node is a place of the path: what follows a prefix.
type node struct {
	words map[string]*node
	value *node
	// seen is how many requests came here; passed how many went on from here by what looked like a word.
	seen, passed uint64
	// learned: words that are not in words are values. rare counts some of them (Misra and Gries 1982), so that one that
	// becomes common is noticed.
	learned bool
	rare    map[string]uint64
}

func newTree(max int) *tree { return &tree{max: max, root: &node{}, nodes: 1} }

// templater is one walk down the tree.
type templater struct {
	tree *tree
	at   *node
	// forgot: words that had been shown are values from now on.
	forgot bool
}

// known steps to the next place over a segment that was a word before, and reports whether it was.
func (t *templater) known(segment string) bool {
	child := t.at.words[segment]
	if child == nil {
		return false
	}
	t.at.pass()
	child.seen++
	t.at = child
	return true
}

func (n *node) pass() {
	if n.passed++; n.passed >= forgetAfter {
		n.halve()
	}
}

// word steps to the next place over a new segment that looks like a word, and reports whether it counts as one.
func (t *templater) word(segment string) bool {
	n := t.at
	n.pass()
	if t.tree.nodes >= maxNodes || n.learned && !n.common(segment, t.tree.max) {
		t.skip()
		return false
	}
	if n.words == nil {
		n.words = map[string]*node{}
	}
	child := &node{seen: 1}
	t.tree.nodes++
	n.words[strings.Clone(segment)] = child // which lets go of the head that the segment is a part of
	if !n.learned && n.settled(t.tree.max) {
		t.learn(n)
		if n.words[segment] == nil {
			t.skip()
			return false
		}
	}
	t.at = child
	return true
}

// skip steps to the next place over a value.
func (t *templater) skip() {
	if t.at.value == nil {
		t.at.value = &node{}
		t.tree.nodes++
	}
	t.at = t.at.value
	t.at.seen++
}

// settled reports whether a place with too many words has shown that they are values, or has shown its common words.
func (n *node) settled(max int) bool {
	words := len(n.words)
	return words > max && (n.passed >= settleRequests*uint64(max) || words > earlyWords*max && n.passed < earlyRequests*uint64(words))
}

// learn gives up the words of a place that few requests share.
func (t *templater) learn(n *node) {
	n.learned, n.rare = true, map[string]uint64{}
	for w, child := range n.words {
		if !n.isCommon(child.seen) {
			t.tree.nodes -= child.count()
			delete(n.words, w)
			t.forgot = true
		}
	}
}

func (n *node) isCommon(seen uint64) bool {
	return seen >= commonCount && float64(seen) >= commonShare*float64(n.passed)
}

// common counts a word that is taken for a value, and reports whether it no longer should be.
func (n *node) common(word string, max int) bool {
	_, counted := n.rare[word]
	if !counted && len(n.rare) >= earlyWords*max {
		for w := range n.rare {
			if n.rare[w]--; n.rare[w] == 0 {
				delete(n.rare, w)
			}
		}
		return false
	}
	word = strings.Clone(word) // as above; the map takes over the newer of two equal keys
	n.rare[word]++
	if !n.isCommon(n.rare[word]) {
		return false
	}
	delete(n.rare, word)
	return true
}

func (n *node) halve() {
	n.passed /= 2
	for _, c := range n.words {
		c.seen /= 2
	}
	for w := range n.rare {
		if n.rare[w] /= 2; n.rare[w] == 0 {
			delete(n.rare, w)
		}
	}
}

func (n *node) count() int {
	total := 1
	for _, c := range n.words {
		total += c.count()
	}
	if n.value != nil {
		total += n.value.count()
	}
	return total
}
