// Package queue is documented.
package queue

import (
	"fmt"
	str "strings"
)

const Limit, other = 10, 2

// Queue is a queue.
type Queue[T any] struct {
	items []T
	name  string
}

// Reader reads.
type Reader interface {
	Read(size int) error
}

// Push adds items to the queue.
// It returns the new length.
func (q *Queue[T]) Push(items ...T) (count int, err error) {
	for index, item := range items {
		q.items = append(q.items, item)
		fmt.Println(str.ToUpper(q.name), index)
	}
	count = len(q.items)
	return count, nil
}

func build() *Queue[int] {
	queue := &Queue[int]{name: "x"}
	var total = Limit
	_ = total
	return queue
}
