(function () {
  var root = document.documentElement, key = "astromill-theme";
  var dark = window.matchMedia("(prefers-color-scheme: dark)");
  try { root.dataset.theme = localStorage.getItem(key) || ""; } catch (e) { root.dataset.theme = ""; }
  document.addEventListener("DOMContentLoaded", function () {
    var button = document.getElementById("theme");
    function isDark() { return root.dataset.theme ? root.dataset.theme === "dark" : dark.matches; }
    function show() { button.setAttribute("aria-pressed", String(isDark())); }
    button.hidden = false;
    button.addEventListener("click", function () {
      root.dataset.theme = isDark() ? "light" : "dark";
      try { localStorage.setItem(key, root.dataset.theme); } catch (e) { /* kept for this page */ }
      show();
    });
    dark.addEventListener("change", show);
    show();
  });
})();
