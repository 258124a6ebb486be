// Light, dark, or what the system says.
import { byId, setText } from "./dom";
import { recall, remember } from "./storage";

const THEMES = ["auto", "light", "dark"];
const KEY = "foreshadow-theme";

/** changed is called after the colours have changed. */
export function setUpTheme(changed: () => void): void {
  const button = byId("theme");
  const show = (theme: string) => {
    document.documentElement.dataset["theme"] = theme;
    setText(button, `Theme: ${theme}`);
    changed();
  };
  let theme = recall(KEY) ?? "auto";
  if (!THEMES.includes(theme)) theme = "auto";
  show(theme);
  button.addEventListener("click", () => {
    theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length]!;
    remember(KEY, theme);
    show(theme);
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", changed);
}
