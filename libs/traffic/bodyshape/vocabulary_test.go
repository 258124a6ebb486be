package bodyshape_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/foreshadow/foreshadow/libs/traffic/bodyshape"
)

func anyName(string) bool { return true }

func TestANameTakesSeveralSessions(t *testing.T) {
	t.Parallel()
	v := bodyshape.NewVocabulary(anyName)
	s := read(t, `{"id":1,"ann":{"age":3}}`)
	for range 10 {
		if told := v.Describe("GET /", "one", s); len(told.Fields) != 0 || told.Rest.Types != bodyshape.Object|bodyshape.Number {
			t.Fatalf("told of one session's answers: %v", lines(told))
		}
	}
	common := read(t, `{"id":1}`)
	v.Describe("GET /", "two", common)
	if told := v.Describe("GET /other", "three", common); len(told.Fields) != 0 {
		t.Errorf("told of another route: %v", lines(told))
	}
	if told := v.Describe("GET /", "two", common); len(told.Fields) != 0 {
		t.Errorf("told of two sessions: %v", lines(told))
	}
	v.Describe("GET /", "three", common)
	told := v.Describe("GET /", "one", s)
	if want := []string{"$ object", "$.* object", "$.*.* number", "$.id number"}; !slices.Equal(lines(told), want) {
		t.Errorf("told %v, want %v", lines(told), want)
	}
}

func TestNamesAreLearntLevelByLevel(t *testing.T) {
	t.Parallel()
	v := bodyshape.NewVocabulary(anyName)
	s := read(t, `{"data":{"items":[{"id":1,"owners":{"a@b.c":{"age":3}}}]}}`)
	var told *bodyshape.Shape
	for i := range 20 {
		told = v.Describe("r", fmt.Sprint(i), s)
	}
	if !slices.Equal(lines(told), lines(s)) {
		t.Errorf("told %v, want %v", lines(told), lines(s))
	}
}

func TestARefusedNameIsNeverTold(t *testing.T) {
	t.Parallel()
	v := bodyshape.NewVocabulary(func(name string) bool { return name != "secret" })
	s := read(t, `{"secret":{"secret":1},"id":1}`)
	for i := range 20 {
		if told := strings.Join(lines(v.Describe("r", fmt.Sprint(i), s)), " "); strings.Contains(told, "secret") {
			t.Fatal(told)
		}
	}
}

// TestAMapOfNamesIsNoInterface has each user's name in the answers to many sessions, which therefore look like an interface's,
// until there are more than one has.
func TestAMapOfNamesIsNoInterface(t *testing.T) {
	t.Parallel()
	v := bodyshape.NewVocabulary(anyName)
	var told *bodyshape.Shape
	for user := range 300 {
		for session := range 4 {
			told = v.Describe("r", fmt.Sprint(session), read(t, fmt.Sprintf(`{"users":{"%s":{"age":1}}}`, letters(user))))
		}
	}
	if want := []string{"$ object", "$.users object", "$.users.* object", "$.users.*.age number"}; !slices.Equal(lines(told), want) {
		t.Errorf("told %v, want %v", lines(told), want)
	}
}

func TestVocabularyIsBounded(t *testing.T) {
	t.Parallel()
	v := bodyshape.NewVocabulary(anyName)
	s := read(t, object(60, `"%s"`, "1"))
	for route := range 1000 {
		for session := range 3 {
			v.Describe(fmt.Sprint(route), fmt.Sprint(session), s)
		}
	}
	if told := v.Describe("0", "x", s); len(told.Fields) != 60 {
		t.Errorf("the first route's names: %v", lines(told))
	}
	if told := v.Describe("999", "x", s); len(told.Fields) != 0 || told.Rest == nil {
		t.Errorf("a route's beyond the bound: %v", lines(told))
	}
}

func TestVocabularyConcurrently(t *testing.T) {
	t.Parallel()
	v := bodyshape.NewVocabulary(anyName)
	s := read(t, `{"items":[{"id":1,"owners":{"a@b.c":{"age":3}}}]}`)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 50 {
				v.Describe("r", fmt.Sprint(i), s)
			}
		})
	}
	wg.Wait()
	if told := v.Describe("r", "x", s); !slices.Equal(lines(told), lines(s)) {
		t.Errorf("told %v", lines(told))
	}
}
