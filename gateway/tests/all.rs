//! The gateway over a simulated grid: requests go to the router itself, no socket is between.

mod all {
    mod api_basics;
    mod api_content;
    mod api_grid;
    mod api_uploads;
    mod support;
}
