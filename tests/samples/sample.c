/* Licence text. */

#include <stdio.h>
#define LIMIT 10
#define TWICE(x) ((x) * 2)

/**
 * struct node - a list node
 */
struct node {
	int value;
	struct node *next;
};

typedef struct { char *name; unsigned size[LIMIT]; } entry_t;

enum mode { FAST, SLOW = 2 };

// Sums the list.
static int sum(const struct node *head, int (*visit)(int))
{
	int total = 0, counts[3];
	for (const struct node *cursor = head; cursor; cursor = cursor->next) {
		total += visit(cursor->value);
		if (total > LIMIT)
			goto done;
	}
	printf("total %d\n", TWICE(total));
done:
	return total;
}

char *name_of(entry_t *entry) { return entry->name; }
