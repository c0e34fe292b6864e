package demo.shop;

import java.util.List;
import static java.lang.Math.max;

/**
 * A basket of items.
 * @author nobody
 */
@Deprecated
public class Basket<T> implements Runnable {
    private final List<T> items; // trailing items comment
    enum Mode { FAST, SLOW }

    public Basket(List<T> items) { this.items = items; }

    /** Adds one item to the basket. */
    @Override
    public int add(final T item, String... tags) throws Exception {
        int count = max(items.size(), 0);
        for (String tag : tags) { System.out.println(tag + "count"); }
        try { items.add(item); } catch (RuntimeException error) { throw error; }
        items.forEach(each -> each.hashCode());
        return count + 1;
    }

    public void run() { Mode mode = Mode.FAST; add(null); }
}
