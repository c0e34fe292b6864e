import { Observable } from "rxjs";

export type Handler<T> = (event: T) => void;

/** A point in the plane. */
export interface Point { x: number; y?: number; move(by: Point): Point; }

enum Color { Red, Green = 2 }

@Component({ selector: "app" })
export class Panel<T> {
  private readonly handlers: Handler<T>[] = [];
  static count = 0;

  constructor(public point: Point, name?: string) {}

  /** Registers a handler. */
  @Input()
  on(handler: Handler<T>): Observable<T> {
    this.handlers.push(handler);
    Panel.count += this.point.x;
    return null as any;
  }
}

/** Picks a color. */
export const pick = async (index: number): Promise<Color> => {
  const chosen = index > 1 ? Color.Red : Color.Green;
  return chosen;
};
