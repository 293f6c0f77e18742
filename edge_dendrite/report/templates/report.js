"use strict";
// Tabs, tooltips and the mark of the section in view. Without this script the page shows the same, one below the other.
(() => {
  const make = (tag, attributes, text) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.textContent = text;
    return element;
  };
  // Where arrow keys lead in a list of so many.
  const step = (key, at, size) => {
    if (key === "Home") return 0;
    if (key === "End") return size - 1;
    const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[key];
    return by === undefined ? -1 : at + by;
  };
  const isPlain = (event) => !(event.altKey || event.ctrlKey || event.metaKey || event.shiftKey);

  // ---- Tabs: one for each panel. A hidden panel is still found by the browser's search, and then opens.
  const openers = new Map();

  function makeTabs(box) {
    const panels = [...box.querySelectorAll(":scope > .panel")];
    if (panels.length < 2) return;
    const list = make("div", { role: "tablist", class: "tablist", "aria-label": box.dataset.tabs }, "");
    const tabs = panels.map((panel) => {
      const name = panel.querySelector("h3").textContent;
      const tab = make("button", { type: "button", role: "tab", id: `${panel.id}-tab`, "aria-controls": panel.id }, name);
      tab.append(" ", make("span", { class: "count" }, panel.querySelectorAll("figure").length));
      list.append(tab);
      return tab;
    });
    const select = (at) => {
      tabs.forEach((tab, index) => {
        tab.setAttribute("aria-selected", index === at);
        tab.tabIndex = index === at ? 0 : -1;
        if (index === at) panels[index].removeAttribute("hidden");
        else panels[index].setAttribute("hidden", "until-found");
      });
      list.scrollLeft = tabs[at].offsetLeft - 60;
    };
    const choose = (at) => {
      select(at);
      tabs[at].focus();
      try {
        history.replaceState(null, "", `#${panels[at].id}`);
      } catch {
        // A page inside of a notebook has no address of its own.
      }
    };
    panels.forEach((panel, index) => {
      panel.setAttribute("role", "tabpanel");
      panel.setAttribute("aria-labelledby", tabs[index].id);
      // A stop of its own only where nothing inside is one.
      if (!panel.querySelector("[data-tip]")) panel.tabIndex = 0;
      panel.addEventListener("beforematch", () => select(index));
      openers.set(panel, () => select(index));
      tabs[index].addEventListener("click", () => choose(index));
    });
    list.addEventListener("keydown", (event) => {
      const at = tabs.indexOf(event.target.closest("[role=tab]"));
      const next = isPlain(event) && !/^Arrow(Up|Down)$/.test(event.key) ? step(event.key, at, tabs.length) : -1;
      if (at < 0 || (next < 0 && event.key !== "ArrowLeft")) return;
      event.preventDefault();
      choose((next + tabs.length) % tabs.length);
    });
    box.classList.add("tabbed");
    box.prepend(list);
    select(0);
  }

  function openAddress() {
    const target = document.getElementById(location.hash.slice(1));
    const open = target && openers.get(target.closest(".panel"));
    if (!open) return;
    open();
    (openers.has(target) ? target.parentElement : target).scrollIntoView();
  }

  document.querySelectorAll("[data-tabs]").forEach(makeTabs);
  addEventListener("hashchange", openAddress);
  openAddress();

  // ---- Tooltips: by pointer, by touch, and by keys. Each table and picture is one stop of Tab, arrow keys move in it.
  const MARK = "[data-tip]";
  const tip = make("div", { role: "tooltip", id: "tip", class: "tip" }, "");
  tip.hidden = true;
  document.body.append(tip);
  let shown = null, point = null, leaving = 0;

  function place() {
    const box = shown.getBoundingClientRect();
    const [x, top, bottom] = point ? [point.x, point.y - 4, point.y + 12] : [(box.left + box.right) / 2, box.top, box.bottom];
    const width = document.documentElement.clientWidth, height = innerHeight;
    // Measured at the edge, where nothing squeezes it.
    tip.style.left = "0px";
    const size = tip.getBoundingClientRect();
    const above = top - size.height - 6;
    tip.style.left = `${Math.max(6, Math.min(x - size.width / 2, width - size.width - 6))}px`;
    tip.style.top = `${Math.max(6, Math.min(above < 6 ? bottom + 6 : above, height - size.height - 6))}px`;
  }

  function show(mark, at) {
    hide();
    shown = mark;
    point = at && at.pointerType !== undefined && (at.clientX || at.clientY) ? { x: at.clientX, y: at.clientY } : null;
    tip.textContent = mark.dataset.tip;
    tip.hidden = false;
    // A mark of a picture is named by its tip already.
    if (!(mark instanceof SVGElement)) mark.setAttribute("aria-describedby", "tip");
    place();
  }

  function hide() {
    clearTimeout(leaving);
    if (!shown) return;
    shown.removeAttribute("aria-describedby");
    shown = null;
    tip.hidden = true;
  }

  function neighbour(mark, key) {
    if (mark.cellIndex !== undefined && (key === "ArrowUp" || key === "ArrowDown")) {
      const rows = [...mark.closest("table").rows];
      const row = rows[rows.indexOf(mark.parentElement) + (key === "ArrowUp" ? -1 : 1)];
      const cell = row && row.cells[mark.cellIndex];
      return cell && cell.matches(MARK) ? cell : null;
    }
    const marks = [...mark.closest("table, svg").querySelectorAll(MARK)];
    return marks[step(key, marks.indexOf(mark), marks.length)];
  }

  // What the browser would show by itself is there for pages without a script.
  document.querySelectorAll("td[title], th[title]").forEach((cell) => {
    cell.dataset.tip = cell.title;
    cell.removeAttribute("title");
  });
  document.querySelectorAll(`svg > title, svg ${MARK} > title`).forEach((title) => {
    if (title.parentElement.matches(MARK)) title.parentElement.setAttribute("aria-label", title.textContent);
    title.remove();
  });
  document.querySelectorAll("table, svg").forEach((holder) => {
    holder.querySelectorAll(MARK).forEach((mark, index) => mark.setAttribute("tabindex", index ? -1 : 0));
  });

  addEventListener("pointerover", (event) => {
    if (event.pointerType === "touch") return;
    const mark = event.target.closest(MARK);
    clearTimeout(leaving);
    if (mark && mark !== shown) show(mark, event);
    else if (shown && !mark && !tip.contains(event.target)) leaving = setTimeout(hide, 150);
  });
  document.documentElement.addEventListener("pointerleave", hide);
  addEventListener("click", (event) => {
    const mark = event.target.closest(MARK);
    if (mark) show(mark, event);
    else if (!tip.contains(event.target)) hide();
  });
  addEventListener("focusin", (event) => {
    if (event.target.matches(`${MARK}:focus-visible`)) show(event.target);
  });
  addEventListener("focusout", hide);
  const isUnderPointer = () => {
    const under = document.elementFromPoint(point.x, point.y);
    return under && under.closest(MARK) === shown;
  };
  addEventListener(
    "scroll",
    () => {
      if (shown && point && !isUnderPointer()) hide();
      else if (shown) place();
    },
    { capture: true, passive: true },
  );
  addEventListener("resize", hide);
  addEventListener("keydown", (event) => {
    if (event.key === "Escape") hide();
    const mark = event.target.closest && event.target.closest(MARK);
    const next = mark && isPlain(event) ? neighbour(mark, event.key) : null;
    if (!next) return;
    event.preventDefault();
    mark.setAttribute("tabindex", -1);
    next.setAttribute("tabindex", 0);
    next.focus();
  });

  // ---- Which section is in view.
  const links = new Map([...document.querySelectorAll(".sections a")].map((link) => [link.hash.slice(1), link]));
  const inView = new IntersectionObserver(
    (entries) => {
      for (const entry of entries.filter((one) => one.isIntersecting)) {
        links.forEach((link) => link.removeAttribute("aria-current"));
        const link = links.get(entry.target.id);
        link.setAttribute("aria-current", "true");
        link.closest("ul").scrollLeft = link.parentElement.offsetLeft - 60;
      }
    },
    { rootMargin: "-15% 0px -80% 0px" },
  );
  document.querySelectorAll("main section[id]").forEach((section) => links.has(section.id) && inView.observe(section));
})();
