/** The name is kept for the next visit, where the browser allows that. */
const key = 'plenum-name';

export function loadName(): string {
  try {
    return window.localStorage.getItem(key) ?? '';
  } catch {
    return '';
  }
}

export function saveName(name: string): void {
  try {
    window.localStorage.setItem(key, name);
  } catch {
    // Private windows may refuse; the name is typed again then.
  }
}
