// The little of a framework that one page needs.

type Child = Node | string | null | undefined | false;

/** Makes an element; attributes are set as attributes, null ones left out. */
export function h(tag: string, attributes: Record<string, string | null> = {}, ...children: Child[]): HTMLElement {
  const el = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) if (value !== null) el.setAttribute(name, value);
  el.append(...children.filter((c): c is Node | string => c !== null && c !== undefined && c !== false));
  return el;
}

export function byId<T extends HTMLElement = HTMLElement>(id: string): T {
  const el = document.getElementById(id);
  if (!el) throw new Error(`no element #${id}`);
  return el as T;
}

/** Sets text only where it differs, so that selections and screen readers are left in peace. */
export function setText(el: Element, text: string): void {
  if (el.textContent !== text) el.textContent = text;
}

/** Brings a list to the given items: elements of known keys are kept, with what the reader has opened in them. */
export function keyed<T>(list: HTMLElement, items: T[], key: (t: T) => string, make: (t: T) => HTMLElement, update: (el: HTMLElement, t: T) => void): void {
  const known = new Map([...list.children].map((el) => [(el as HTMLElement).dataset["key"] ?? "", el as HTMLElement]));
  const wanted = items.map((item) => {
    const k = key(item);
    let el = known.get(k);
    if (!el) {
      el = make(item);
      el.dataset["key"] = k;
    }
    known.delete(k);
    update(el, item);
    return el;
  });
  for (const el of known.values()) el.remove();
  wanted.forEach((el, i) => { if (list.children[i] !== el) list.insertBefore(el, list.children[i] ?? null); });
}
